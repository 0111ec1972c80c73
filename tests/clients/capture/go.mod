module ringmq/tests/capture

go 1.24
