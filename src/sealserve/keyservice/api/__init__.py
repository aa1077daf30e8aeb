"""The admin API: what `keyservice.administration` can do, over HTTPS, for people with roles.

`AdminApi` listens; `openapi_document` describes it. Every client shows a certificate, every
operation asks the one table of roles (`access`), every change says who made it.
"""

from sealserve.keyservice.api.application import openapi_document
from sealserve.keyservice.api.listening import AdminApi

__all__ = ["AdminApi", "openapi_document"]
