import pyarrow as pa

from pipeline.ingest.quality.reasons import count_reasons


def test_reasons_are_counted_by_kind_most_frequent_first() -> None:
    reasons = [
        "wind_speed 1048.4 m s-1 is outside 0 to 60",
        "wind_speed -1e-05 m s-1 is outside 0 to 60",
        "wind_speed inf m s-1 is outside 0 to 60",
        "pedestrian_count 300000 is outside 0 to 20000",
        "wind_speed: 'abc' is no number",
        'wind_speed: "it\'s" is no number',
        "2020-09-27 02:00 does not exist in Pacific/Auckland (clocks went forward)",
        "2021-09-26 02:30 does not exist in Pacific/Auckland (clocks went forward)",
        "location 'D' is no station of the feed; wind_speed 70 m s-1 is outside 0 to 60",
        "valid_time 2020-01-01 14:00:00+00:00 is in the future, after 2020-01-01 13:00:00",
        "valid_time is missing",
        "line 3 has 2 columns, not 3",
        "line 14 has 5 columns, not 3",
        "wind_speed 7.5 m s-1 is the same for 20 values, more than 12",
        "wind_speed 3 m s-1 is the same for 31 values, more than 12",
        "wind_speed 40 m s-1 is a change by 1.5e+03 a step, more than 20",
        "wind_speed 40 m s-1 is 16.2 sigmas from what its neighbours let expect, more than 6",
        "duplicate key, a later row of the payload differs",
    ]
    assert list(count_reasons(pa.table({"reason": reasons})).items()) == [
        ("wind_speed … m s-1 is outside 0 to 60", 3),
        ("line … has … columns, not 3", 2),
        ("wind_speed … m s-1 is the same for … values, more than 12", 2),
        ("wind_speed: … is no number", 2),
        ("… does not exist in Pacific/Auckland (clocks went forward)", 2),
        ("duplicate key, a later row of the payload differs", 1),
        ("location … is no station of the feed; wind_speed … m s-1 is outside 0 to 60", 1),
        ("pedestrian_count … is outside 0 to 20000", 1),
        ("valid_time is missing", 1),
        ("valid_time … is in the future, after …", 1),
        ("wind_speed … m s-1 is a change by … a step, more than 20", 1),
        ("wind_speed … m s-1 is … sigmas from what its neighbours let expect, more than 6", 1),
    ]


def test_no_refused_rows_have_no_reasons() -> None:
    assert count_reasons(pa.table({"reason": pa.array([], pa.string())})) == {}
