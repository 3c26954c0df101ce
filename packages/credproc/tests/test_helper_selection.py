"""When the helper is taken instead of our own signer, and who hears of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from credproc.diagnosis.walk import walk
from credproc.errors import HelperError, IdentityError
from credproc.helper import selection
from credproc.identity.load import load_signer
from credproc.obtain import obtain
from fake_helper import BASE
from mqauth_sandbox.pki import Pki


class TestSelection:
    """When the helper is taken."""

    def test_a_tpm_says_what_it_needs(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mqauth_pki: Pki
    ) -> None:
        """Where no helper is installed, or it is ruled out, the TPM is named and the remedy too."""
        monkeypatch.setenv("PATH", str(tmp_path))
        certificate = mqauth_pki.issue().write(tmp_path).certificate
        options = BASE._replace(certificate=str(certificate), private_key="handle:0x81000001")
        with pytest.raises(HelperError, match=r"key is in a TPM, .* no aws_signing_helper on PATH"):
            obtain(options._replace(no_cache=True))
        findings = [outcome.finding for outcome in walk(options)]
        assert "the key is in a TPM, where only aws_signing_helper" in findings[-1].detail
        with pytest.raises(IdentityError, match=r"lives in a TPM.*install that, and use --backend"):
            load_signer(options._replace(backend="native"))

    def test_only_for_what_only_it_can_do(self, tmp_path: Path) -> None:
        """TPM keys and system stores need it; files and PKCS#11 do not."""
        key = tmp_path / "tpm.key"
        key.write_text("-----BEGIN TSS2 PRIVATE KEY-----\n")
        both = tmp_path / "both.pem"
        both.write_text("-----BEGIN CERTIFICATE-----\n-----BEGIN TSS2 PRIVATE KEY-----\n")
        base = BASE._replace(certificate="/c.pem")
        reason = selection.reason_for_helper
        assert reason(base._replace(private_key="handle:0x81000001")) == "the key is in a TPM"
        assert reason(base._replace(private_key=str(key))) == "the key belongs to a TPM"
        assert reason(base._replace(certificate=str(both))) == "the key belongs to a TPM"
        stored = base._replace(certificate=None, cert_selector="Key=x509Subject,Value=CN=x")
        assert reason(stored) == "the certificate is in the system's store"
        assert reason(base) is None
        assert reason(base._replace(private_key="pkcs11:token=x")) is None
        assert reason(base._replace(private_key=str(key), backend="native")) is None
        assert reason(base._replace(backend="helper")) == "--backend helper asks for it"

    @pytest.mark.parametrize("debug", [False, True])
    def test_it_is_said_only_to_those_who_watch(
        self,
        capsys: pytest.CaptureFixture[str],
        debug: bool,  # noqa: FBT001
    ) -> None:
        """SDKs show standard error when something fails, so it stays empty unless asked for."""
        selection.announce("the key is in a TPM", BASE._replace(debug=debug))
        assert ("the key is in a TPM" in capsys.readouterr().err) is debug
