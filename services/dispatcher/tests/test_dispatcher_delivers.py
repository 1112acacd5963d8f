"""Deliveries that nothing stands in the way of."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread

from hermes_common import config
from hermes_common.records import DeliveryState

pytestmark = pytest.mark.servers


async def test_a_series_comes_to_a_folder_and_every_instance_has_its_outcome(place) -> None:
    await place.targets(place.to_folder())
    delivery = await place.delivery("folder", [place.instance(n, 2000 if n else 300_000) for n in range(5)])
    async with place.dispatcher():
        record = await place.until(delivery, DeliveryState.SUCCEEDED)
    assert (record.delivered, record.attempt, record.tries, record.lease) == ("0-4", 1, 1, None)
    files = sorted((place.folder / "folder/1.2.9/1.2.9.1").iterdir())
    assert [file.name for file in files] == [f"1.2.9.1.{n}.dcm" for n in range(5)]
    read = dcmread(files[0])
    assert len(read.PixelData) == 300_000
    assert "PrivateInformation" not in read.file_meta
    assert {outcome.index for outcome in await place.outcomes(delivery)} == set(range(5))
    assert len(await place.said(delivery, "started")) == len(await place.said(delivery, "succeeded")) == 1
    assert not list(place.folder.glob("hermes-*.part"))


@pytest.mark.interop
async def test_a_series_comes_to_dcmtk_with_its_bytes_unchanged(place, storescp: tuple[int, Path]) -> None:
    port, folder = storescp
    target = config.DicomTarget(slug="pacs", name="p", host="127.0.0.1", port=port, called_aet="STORESCP")
    await place.targets(target)
    instances = [place.instance(n, 200_000) for n in range(20)]
    delivery = await place.delivery("pacs", instances)
    async with place.dispatcher():
        await place.until(delivery, DeliveryState.SUCCEEDED)
    assert len(list(folder.iterdir())) == 20
    outcomes = await place.outcomes(delivery)
    assert sorted(outcome.index for outcome in outcomes) == list(range(20))
    assert all(outcome.result == "delivered" and outcome.status == 0 for outcome in outcomes)


async def test_an_scp_in_python_has_what_is_said_to_be_delivered(place, scp: Callable) -> None:
    peer = scp()
    await place.targets(peer.target())
    delivery = await place.delivery("pacs", [place.instance(n) for n in range(10)])
    async with place.dispatcher():
        await place.until(delivery, DeliveryState.SUCCEEDED)
    assert set(peer.stored().values()) == {1}
    assert len(peer.stored()) == 10
