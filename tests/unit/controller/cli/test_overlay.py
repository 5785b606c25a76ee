"""What an overlay would keep clients from, told before it is written."""

from controller.cli.overlay import load_words

LOADS = {"azure/r/d": 1_100.0, "azure/s/d": 118.0, "gcp/r/d": 2_782.0, "oci/r/d": 0.0}


def test_a_rehearsed_overlay_names_the_load_of_its_pools() -> None:
    """In units/s by what clients report, the largest first."""
    assert load_words(LOADS, ("azure",)) == (
        "clients send 1,218 of 4,000 units/s to these pools now, and would no longer: "
        "1,100 to azure/r/d, 118 to azure/s/d"
    )


def test_pools_without_load_are_not_named() -> None:
    """The sum says that nothing would leave them."""
    words = load_words(LOADS, ("oci/r",))
    assert words == "clients send 0 of 4,000 units/s to these pools now, and would no longer"
