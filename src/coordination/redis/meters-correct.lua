-- Corrects meters afterwards, without a limit.
--
-- KEYS[1]  hg:{OWNER}
-- ARGV     the meters, of which an amount below zero is given back; now

correct(ARGV[1], tonumber(ARGV[2]))
