"""The three doors of exercise 3 as its checks use them: Kafka, the REST API, a folder."""
