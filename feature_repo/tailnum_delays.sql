-- What the aircraft last did, as of each of its arrivals, and how it fared in two weeks.
SELECT
    tailnum,
    arrived_at AS event_timestamp,
    epoch(arrived_at)::BIGINT AS tailnum_last_arrival,
    arr_delay AS tailnum_last_delay,
    avg(late) OVER last_24h AS tailnum_late_rate_24h,
    avg(late) OVER last_14d AS tailnum_late_rate_14d,
    count(*) OVER last_14d AS tailnum_flights_14d
FROM flights
WHERE late IS NOT NULL AND tailnum IS NOT NULL
WINDOW
    last_24h AS (PARTITION BY tailnum ORDER BY arrived_at RANGE INTERVAL 24 HOUR PRECEDING),
    last_14d AS (PARTITION BY tailnum ORDER BY arrived_at RANGE INTERVAL 14 DAY PRECEDING)
-- Of two flights recorded as arriving in the same minute the higher flight number counts.
QUALIFY row_number() OVER (PARTITION BY tailnum, arrived_at ORDER BY flight DESC) = 1
