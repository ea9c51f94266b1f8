"""The ML code of the course: will a flight leaving New York arrive more than 15 minutes late?

Nothing here imports Airflow: the same functions run in a unit test, in an Airflow
task, in a pod (``python -m flightdelays.train``) and in the grader.
"""
