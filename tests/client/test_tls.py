"""TLS settings. Connections with TLS are in test_faults.py."""

from pathlib import Path

import pytest

from kmnist.client import TLS, InvalidInputError


def test_certificate_and_key_belong_together() -> None:
    with pytest.raises(InvalidInputError, match="certificate= without key=; expected both"):
        TLS(certificate="chain.pem")
    with pytest.raises(InvalidInputError, match="key= without certificate=; expected both"):
        TLS(key="key.pem")


def test_files_are_read_as_ca_key_and_certificate(tmp_path: Path) -> None:
    for name in ("ca", "key", "chain"):
        (tmp_path / name).write_text(name)
    tls = TLS(
        ca=str(tmp_path / "ca"), certificate=str(tmp_path / "chain"), key=str(tmp_path / "key")
    )
    assert tls.read() == (b"ca", b"key", b"chain")
    assert TLS().read() == (None, None, None)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"cannot read the TLS file .*none.pem: No such"):
        TLS(ca=str(tmp_path / "none.pem")).read()
