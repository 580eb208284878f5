"""The one image's jobs: prepare, train, evaluate and serve, under SageMaker's /opt/ml contract."""
