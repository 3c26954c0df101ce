"""User name and password of ApsaraMQ for RabbitMQ, computed from an access key.

See "Grant permissions to RabbitMQ clients by RRSA" in the ApsaraMQ for RabbitMQ documentation,
step 3. The digest takes the timestamp as key and the secret as message, which is no slip of ours.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from mqauth.secret import Secret


def login_name(instance_id: str, access_key_id: str, security_token: Secret) -> str:
    """Return the user name; it holds the security token, without which it is of no use."""
    text = f"0:{instance_id}:{access_key_id}:{security_token.reveal()}"
    return base64.b64encode(text.encode()).decode()


def login_password(access_key_secret: Secret, milliseconds: int) -> Secret:
    """Return the password.

    Args:
        access_key_secret: The secret half of the access key.
        milliseconds: Time since 1970.
    """
    key, message = str(milliseconds).encode(), access_key_secret.reveal().encode()
    # The algorithm is ApsaraMQ's choice.
    digest = hmac.new(key, message, hashlib.sha1).hexdigest().upper()
    return Secret(base64.b64encode(f"{digest}:{milliseconds}".encode()).decode())
