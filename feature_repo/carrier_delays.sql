-- How late the carrier's flights have been, as of each full hour. An arrival counts from
-- the first full hour at or after the moment it landed.
WITH arrivals AS (
    SELECT
        carrier,
        date_trunc('hour', arrived_at - INTERVAL 1 MINUTE) + INTERVAL 1 HOUR AS tick,
        count(*) AS flights,
        sum(late) AS late,
        sum(arr_delay) AS delay
    FROM flights
    WHERE late IS NOT NULL
    GROUP BY ALL
),
sums AS (
    SELECT
        carrier,
        tick,
        sum(flights) OVER last_3h AS flights_3h,
        sum(late) OVER last_3h AS late_3h,
        sum(delay) OVER last_3h AS delay_3h,
        sum(flights) OVER last_24h AS flights_24h,
        sum(late) OVER last_24h AS late_24h,
        sum(flights) OVER last_14d AS flights_14d,
        sum(late) OVER last_14d AS late_14d
    FROM (SELECT DISTINCT carrier FROM raw_flights)
    CROSS JOIN ticks
    LEFT JOIN arrivals USING (carrier, tick)
    WINDOW
        last_3h AS (PARTITION BY carrier ORDER BY tick ROWS 2 PRECEDING),
        last_24h AS (PARTITION BY carrier ORDER BY tick ROWS 23 PRECEDING),
        last_14d AS (PARTITION BY carrier ORDER BY tick ROWS 335 PRECEDING)
)
SELECT
    carrier,
    tick AS event_timestamp,
    late_3h / flights_3h AS carrier_late_rate_3h,
    delay_3h / flights_3h AS carrier_delay_3h,
    late_24h / flights_24h AS carrier_late_rate_24h,
    late_14d / flights_14d AS carrier_late_rate_14d
FROM sums
-- A carrier without an arrival in two weeks has no history to publish.
WHERE flights_14d IS NOT NULL
