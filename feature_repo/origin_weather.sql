-- Hourly weather at the origin. An observation counts as known one hour after its hour
-- began, when the hour it describes is over.
SELECT
    origin,
    time_hour + INTERVAL 1 HOUR AS event_timestamp,
    temp,
    humid,
    wind_dir,
    wind_speed,
    precip,
    pressure,
    visib
FROM raw_weather
-- The hour that the clocks repeat in November is listed twice: the later row wins.
QUALIFY row_number() OVER (PARTITION BY origin, time_hour ORDER BY year, month, day, hour DESC) = 1
