//! Real etcd clusters and real plugin processes under faults and load.
