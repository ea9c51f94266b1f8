"""Event-driven retraining, as far as Airflow must be able to import it.

``trigger`` runs in the triggerer, ``tasks`` holds what the three DAGs have in common. The plugin
loader passes over this folder (``.airflowignore``): the Kafka provider takes too long to import
for processes that do not need it.
"""
