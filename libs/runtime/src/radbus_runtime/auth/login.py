"""`POST /api/auth/jwt_login/`: an access token for a JWT that a user has signed (CONTRACTS, section 2)."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, ValidationError
from radbus_storage import records
from radbus_storage.documents import Documents

from radbus_runtime.audit.access import current_access
from radbus_runtime.audit.codes import AUTHENTICATE
from radbus_runtime.auth.principal import UnauthenticatedError
from radbus_runtime.auth.signed import LENGTH_LIMIT
from radbus_runtime.auth.users import LoginOffError, Users
from radbus_runtime.bodies import small_body
from radbus_runtime.dialects import DetailRoute
from radbus_runtime.documented import detail
from radbus_runtime.settings import ServiceSettings

_BODY_LIMIT_BYTES: Final = LENGTH_LIMIT + 1024


class LoginBody(BaseModel):
    """What a client sends."""

    jwt: str = Field(
        max_length=LENGTH_LIMIT, description="Signed with RS256 by the user's key; claims iss, exp, username."
    )


class AccessBody(BaseModel):
    """What it gets: a JWT, of which it need read no more than `exp`."""

    token: str


def login_routes(documents: Documents, settings: ServiceSettings) -> APIRouter:
    """Make the route."""
    users = Users(
        documents[records.USERS], access_key=settings.access_key, access_lifetime_s=settings.access_lifetime_s
    )
    router = APIRouter(route_class=DetailRoute, tags=["login"])

    @router.post(
        "/api/auth/jwt_login/",
        response_model=AccessBody,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": LoginBody.model_json_schema()}},
            }
        },
        responses={
            400: detail("The body did not come whole and in time."),
            401: detail("Not a JWT that lets a user in."),
            403: detail("The user may not log in with a JWT of this issuer."),
            413: detail("The body is too large for one JWT."),
            503: detail("Logging in is not configured, or a store is away."),
        },
    )
    async def log_in(request: Request) -> Response:
        """Give an access token for a JWT that is signed with the key that the user is registered with."""
        current_access().kind = AUTHENTICATE
        body = await small_body(request, limit_bytes=_BODY_LIMIT_BYTES)
        try:
            token = await users.login(LoginBody.model_validate_json(body).jwt)
        except ValidationError as error:
            text = f'expected the JSON {{"jwt": "..."}}, with at most {LENGTH_LIMIT} characters'
            raise UnauthenticatedError(text) from error
        except LoginOffError as error:
            raise HTTPException(503, str(error)) from error
        return JSONResponse({"token": token}, headers={"Cache-Control": "no-store"})

    return router
