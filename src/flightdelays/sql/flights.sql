-- Flights with their moments in UTC. One row per scheduled flight.
--   scheduled_departure  when it should leave
--   prediction_time      when the model is asked: $horizon minutes before that
--   departed_at          when it left; known from then on
--   arrived_at           when it arrived; its delay is known from then on
--   late                 1 if it arrived more than $late_minutes late, NULL if it never arrived
-- Clock times are local to their airport, so the duration of a flight is the difference of
-- the two clocks less the difference of the two zones. Four airports of the Caribbean are
-- absent from the airports file: they keep UTC-4 all year (Atlantic Standard Time).
CREATE OR REPLACE TEMP VIEW flights AS
WITH clocks AS (
    SELECT
        f.*,
        f.time_hour + to_minutes(f.minute::BIGINT) AS scheduled_departure,
        (f.dep_time // 100) * 60 + f.dep_time % 100 AS departure_clock,
        (f.arr_time // 100) * 60 + f.arr_time % 100 AS arrival_clock,
        date_diff(
            'minute',
            timezone('UTC', f.time_hour),
            timezone('America/New_York', f.time_hour)
        ) AS origin_offset,
        coalesce(a.tz, -4) * 60 AS destination_standard,
        coalesce(a.dst, 'N') = 'A' AS destination_saves_daylight
    FROM raw_flights AS f
    LEFT JOIN raw_airports AS a ON a.faa = f.dest
),
durations AS (
    SELECT
        * EXCLUDE (departure_clock, arrival_clock, destination_standard, destination_saves_daylight),
        (
            arrival_clock - departure_clock + origin_offset - destination_standard
            - CASE WHEN destination_saves_daylight AND origin_offset = -240 THEN 60 ELSE 0 END
            + 2880
        ) % 1440 AS gate_to_gate
    FROM clocks
)
SELECT
    * EXCLUDE (gate_to_gate, origin_offset),
    scheduled_departure - to_minutes($horizon) AS prediction_time,
    scheduled_departure + to_minutes(dep_delay::BIGINT) AS departed_at,
    scheduled_departure + to_minutes(dep_delay + gate_to_gate::BIGINT) AS arrived_at,
    CASE WHEN arr_delay IS NOT NULL THEN (arr_delay > $late_minutes)::INT END AS late
FROM durations;
