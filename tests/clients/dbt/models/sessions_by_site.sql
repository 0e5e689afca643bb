{{ config(materialized='ephemeral') }}
SELECT site, count(*) AS sessions FROM {{ target.schema }}.sessions GROUP BY site
