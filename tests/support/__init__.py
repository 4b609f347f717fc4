"""What tests share: real servers, real nodes, tables of many shapes."""
