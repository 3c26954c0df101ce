"""The AWS query protocol: form parameters in, XML out, errors as AWS words them."""

from __future__ import annotations

import re
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qs

from mqauth_sandbox.http import Request, Response

NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
VERSION = "2011-06-15"


class AwsError(Exception):
    """An error answer of an AWS query service.

    Args:
        code: Error code, such as `AccessDenied`.
        message: What AWS says with it.
        status: HTTP status.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        """Keep what the answer needs."""
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status

    def response(self) -> Response:
        """Return the error as the HTTP response that the client gets."""
        root = ET.Element("ErrorResponse", xmlns=NAMESPACE)
        error = ET.SubElement(root, "Error")
        ET.SubElement(error, "Type").text = "Sender" if self.status < 500 else "Receiver"
        ET.SubElement(error, "Code").text = self.code
        ET.SubElement(error, "Message").text = self.message
        request_id = str(uuid.uuid4())
        ET.SubElement(root, "RequestId").text = request_id
        return _xml(root, request_id, self.status)


class Parameters:
    """The parameters of one call, with the checks that the service model asks for.

    Args:
        request: A form posted to the service, or a query string.

    Raises:
        AwsError: The parameters cannot be decoded.
    """

    def __init__(self, request: Request) -> None:
        """Decode the parameters."""
        try:
            text = "&".join(filter(None, (request.query, request.body.decode())))
            parsed = parse_qs(text, keep_blank_values=True, errors="strict")
        except ValueError:
            raise AwsError("MalformedQueryString", "The query string is malformed", 404) from None
        self._values = {name: values[0] for name, values in parsed.items()}

    def text(
        self,
        name: str,
        *,
        least: int = 0,
        most: int | None = None,
        pattern: str | None = None,
        one_of: tuple[str, ...] | None = None,
    ) -> str | None:
        """Return a parameter after checking length, pattern and choice; None if not given."""
        value = self._values.get(name)
        if value is None:
            return None
        if len(value) < least:
            raise _invalid(name, value, f"have length greater than or equal to {least}")
        if most is not None and len(value) > most:
            raise _invalid(name, value, f"have length less than or equal to {most}")
        if pattern is not None and not re.fullmatch(pattern, value):
            raise _invalid(name, value, f"satisfy regular expression pattern: {pattern}")
        if one_of is not None and value not in one_of:
            raise _invalid(name, value, f"satisfy enum value set: [{', '.join(one_of)}]")
        return value

    def required(
        self,
        name: str,
        *,
        least: int = 0,
        most: int | None = None,
        pattern: str | None = None,
        one_of: tuple[str, ...] | None = None,
    ) -> str:
        """Return a parameter as `text` does, and refuse the call if it is not given."""
        value = self.text(name, least=least, most=most, pattern=pattern, one_of=one_of)
        if value is None:
            raise _missing(name)
        return value

    def integer(self, name: str, *, least: int, most: int, default: int) -> int:
        """Return a whole number within its bounds, or `default`."""
        value = self._values.get(name)
        if value is None:
            return default
        try:
            number = int(value)
        except ValueError:
            raise AwsError(
                "MalformedInput", f"Invalid value for parameter {_member(name)}"
            ) from None
        if number < least:
            raise _invalid(name, value, f"have value greater than or equal to {least}")
        if number > most:
            raise _invalid(name, value, f"have value less than or equal to {most}")
        return number

    def members(self, name: str, *, most: int, longest: int) -> list[str]:
        """Return the list under `name` (`name.member.1`, ...), which must not be empty."""
        values: list[str] = []
        while (value := self._values.get(f"{name}.member.{len(values) + 1}")) is not None:
            if not 1 <= len(value) <= longest:
                raise _invalid(name, value, f"have length between 1 and {longest}")
            values.append(value)
        if not values:
            raise _missing(name)
        if len(values) > most:
            raise _invalid(name, f"{len(values)} members", f"have at most {most} members")
        return values

    def tags(self, name: str = "Tags", *, most: int = 50) -> dict[str, str]:
        """Return the list of key and value pairs under `name`."""
        tags: dict[str, str] = {}
        count = 0
        while True:
            prefix = f"{name}.member.{count + 1}."
            if not {prefix + "Key", prefix + "Value"} & self._values.keys():
                break
            key = self.required(prefix + "Key", least=1, most=128)
            if key in tags:
                raise AwsError("InvalidParameterValue", f"Duplicate tag key: {key}")
            tags[key] = self.required(prefix + "Value", most=256)
            count += 1
        if count > most:
            raise _invalid(name, f"{count} members", f"have at most {most} members")
        return tags


def result_response(
    action: str, result: Mapping[str, object], namespace: str = NAMESPACE
) -> Response:
    """Return the answer of a call: nested mappings become nested elements, None is left out."""
    root = ET.Element(f"{action}Response", xmlns=namespace)
    _fill(ET.SubElement(root, f"{action}Result"), result)
    request_id = str(uuid.uuid4())
    ET.SubElement(ET.SubElement(root, "ResponseMetadata"), "RequestId").text = request_id
    return _xml(root, request_id, 200)


def iso_time(seconds: float) -> str:
    """Return a POSIX timestamp as AWS writes times, in whole seconds of UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _fill(parent: ET.Element, content: Mapping[str, object]) -> None:
    for name, value in content.items():
        if value is None:
            continue
        element = ET.SubElement(parent, name)
        if isinstance(value, Mapping):
            _fill(element, value)
        else:
            element.text = str(value)


def _xml(root: ET.Element, request_id: str, status: int) -> Response:
    return Response(
        status=status,
        body=ET.tostring(root, encoding="utf-8"),
        content_type="text/xml",
        headers={"x-amzn-RequestId": request_id, "Cache-Control": "no-store"},
    )


def _member(name: str) -> str:
    # AWS names the member as in its model's code, so with a small first letter.
    return name[:1].lower() + name[1:]


def _missing(name: str) -> AwsError:
    return AwsError(
        "ValidationError",
        f"1 validation error detected: Value null at '{_member(name)}' failed to satisfy "
        "constraint: Member must not be null",
    )


def _invalid(name: str, value: str, constraint: str) -> AwsError:
    return AwsError(
        "ValidationError",
        f"1 validation error detected: Value '{value}' at '{_member(name)}' failed to satisfy "
        f"constraint: Member must {constraint}",
    )
