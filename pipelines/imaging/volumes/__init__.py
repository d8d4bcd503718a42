"""Volumes: read, cut into planes, shown in grey, and put together again on their own grid."""
