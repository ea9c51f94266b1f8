-- One row per flight that arrived: the question (at prediction time) and, in `late`, the answer.
-- $origin and $carriers narrow it to one airport and some carriers; NULL means all.
SELECT
    strftime(timezone('America/New_York', scheduled_departure), '%Y-%m') AS month,
    prediction_time AS event_timestamp,
    scheduled_departure,
    f.carrier,
    f.flight,
    f.tailnum,
    f.origin,
    f.dest,
    isodow(timezone('America/New_York', scheduled_departure))::INT AS weekday,
    ((sched_dep_time // 100) * 60 + sched_dep_time % 100)::INT AS departure_minute,
    (
        (
            (sched_arr_time // 100) * 60 + sched_arr_time % 100
            - (sched_dep_time // 100) * 60 - sched_dep_time % 100 + 1440
        ) % 1440
    )::INT AS scheduled_minutes,
    f.distance,
    (f.year - p.year)::INT AS plane_age,
    f.late
FROM flights AS f
LEFT JOIN raw_planes AS p ON p.tailnum = f.tailnum
WHERE
    f.late IS NOT NULL
    AND ($origin IS NULL OR f.origin = $origin)
    AND ($carriers IS NULL OR list_contains($carriers::VARCHAR[], f.carrier))
ORDER BY event_timestamp, f.carrier, f.flight, f.origin, f.tailnum
