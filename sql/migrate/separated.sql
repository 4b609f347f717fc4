-- What the move of a shared history has moved, and what it could not attribute, in words.
SELECT reason FROM :"events" WHERE kind = 'migrate' AND outcome = 'separated' ORDER BY id DESC LIMIT 1;
