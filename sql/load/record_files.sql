INSERT INTO tidemill.loaded_files (file, model, load_id, "rows", loaded_at)
SELECT listed.file, {model}, {load_id}, staged."rows", GETDATE()
FROM ({files}) AS listed
CROSS JOIN (SELECT COUNT(*) AS "rows" FROM staging) AS staged
WHERE NOT EXISTS (SELECT 1 FROM tidemill.loaded_files AS known WHERE known.file = listed.file)
