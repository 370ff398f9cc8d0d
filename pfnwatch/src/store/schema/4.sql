-- 1 where the kernel returns a memmap in DRAM, 0 where it does not; empty where it is not known.
ALTER TABLE boots ADD COLUMN memmap_returned INTEGER;
