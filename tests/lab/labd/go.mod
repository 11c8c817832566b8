module tidegate.dev/lab/labd

go 1.26.0
