"""What stands beside Airflow in the stack of containers: model server, alert inbox, Kafka lag.

Each module that runs is one small program around a library that does the work. Nothing here
imports Airflow or the command line of the course.
"""
