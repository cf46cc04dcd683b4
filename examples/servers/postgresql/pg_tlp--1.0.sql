-- A text of at most n tokens that answers a prompt.
CREATE FUNCTION tlp_generate(prompt text, n integer DEFAULT 128)
RETURNS text
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT;
