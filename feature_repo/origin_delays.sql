-- How late flights have been leaving the origin, and arriving from it, as of each full hour.
-- A departure's delay is known when it leaves, an arrival's when it lands; either counts from
-- the first full hour at or after that moment.
WITH events AS (
    SELECT origin, departed_at AS known_at, dep_delay, NULL::INT AS arr_delay, NULL::INT AS late
    FROM flights
    WHERE departed_at IS NOT NULL
    UNION ALL
    SELECT origin, arrived_at, NULL, arr_delay, late
    FROM flights
    WHERE late IS NOT NULL
),
totals AS (
    SELECT
        origin,
        date_trunc('hour', known_at - INTERVAL 1 MINUTE) + INTERVAL 1 HOUR AS tick,
        count(dep_delay) AS departures,
        sum(dep_delay) AS departure_delay,
        sum((dep_delay > $late_minutes)::INT) AS departures_late,
        count(late) AS arrivals,
        sum(arr_delay) AS delay,
        sum(late) AS late
    FROM events
    GROUP BY ALL
),
sums AS (
    SELECT
        origin,
        tick,
        coalesce(sum(departures) OVER last_1h, 0) AS departures_1h,
        sum(departure_delay) OVER last_1h AS departure_delay_1h,
        sum(departures_late) OVER last_1h AS departures_late_1h,
        sum(departures) OVER last_3h AS departures_3h,
        sum(departure_delay) OVER last_3h AS departure_delay_3h,
        sum(arrivals) OVER last_3h AS arrivals_3h,
        sum(delay) OVER last_3h AS delay_3h,
        sum(late) OVER last_3h AS late_3h,
        sum(arrivals) OVER last_24h AS arrivals_24h,
        sum(late) OVER last_24h AS late_24h
    FROM (SELECT DISTINCT origin FROM raw_flights)
    CROSS JOIN ticks
    LEFT JOIN totals USING (origin, tick)
    WINDOW
        last_1h AS (PARTITION BY origin ORDER BY tick ROWS CURRENT ROW),
        last_3h AS (PARTITION BY origin ORDER BY tick ROWS 2 PRECEDING),
        last_24h AS (PARTITION BY origin ORDER BY tick ROWS 23 PRECEDING)
)
SELECT
    origin,
    tick AS event_timestamp,
    departures_1h::BIGINT AS origin_departures_1h,
    departure_delay_1h / nullif(departures_1h, 0) AS origin_departure_delay_1h,
    departures_late_1h / nullif(departures_1h, 0) AS origin_departure_late_rate_1h,
    departure_delay_3h / nullif(departures_3h, 0) AS origin_departure_delay_3h,
    late_3h / nullif(arrivals_3h, 0) AS origin_late_rate_3h,
    delay_3h / nullif(arrivals_3h, 0) AS origin_delay_3h,
    late_24h / nullif(arrivals_24h, 0) AS origin_late_rate_24h
FROM sums
