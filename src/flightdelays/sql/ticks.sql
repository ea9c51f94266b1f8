-- Every full hour of the months in view: the moments at which delay histories are published.
-- Publishing on a fixed grid, rather than at every event, keeps the point-in-time join small
-- (its cost grows with the facts per entity) and can say "nothing happened" at night.
CREATE OR REPLACE TEMP VIEW ticks AS
SELECT unnest(generate_series(
    timezone('America/New_York', TIMESTAMP '$from'),
    timezone('America/New_York', TIMESTAMP '$until'),
    INTERVAL 1 HOUR
)) AS tick;
