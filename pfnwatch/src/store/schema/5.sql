-- What was last seen of each device of the dax bus that no namespace owns. All rows are written together.
CREATE TABLE devices (
    json TEXT NOT NULL              -- its identity; what it serves, under which kernel; what that is compared with
) STRICT;
