"""DAGs to start from. They read the database's id from HEADWATER_DATABASE, and write files below HEADWATER_FILES."""
