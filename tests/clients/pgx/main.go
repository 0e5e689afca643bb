// pgx against Footfall: every column of events in binary, bound values, a million rows, cancel.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const endless = "SELECT count(*) FROM generate_series(1, 100000000000)"

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	background := context.Background()
	connection, err := pgx.Connect(background, os.Args[1])
	check(err)

	rows, err := connection.Query(background, "SELECT * FROM events ORDER BY event_time LIMIT 50")
	check(err)
	count, nulls := 0, 0
	for rows.Next() {
		values, err := rows.Values()
		check(err)
		count++
		for _, value := range values {
			if value == nil {
				nulls++
			}
		}
	}
	check(rows.Err())
	if count != 50 || nulls == 0 {
		log.Fatalf("%d rows, %d NULLs", count, nulls)
	}

	var events int64
	bound := "SELECT count(*) FROM events WHERE event_name = $1 AND event_time >= $2 AND event_date > $3"
	from := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	check(connection.QueryRow(background, bound, "view_item", from, from).Scan(&events))
	if events == 0 {
		log.Fatal("no events")
	}
	var text *string
	var number *float64
	check(connection.QueryRow(background, "SELECT $1::TEXT, $2::DOUBLE PRECISION", nil, 1.5).Scan(&text, &number))
	if text != nil || *number != 1.5 {
		log.Fatal("other values came back")
	}

	rows, err = connection.Query(background, "SELECT value FROM generate_series(1, 1000000)")
	check(err)
	var sum, value int64
	for rows.Next() {
		check(rows.Scan(&value))
		sum += value
	}
	check(rows.Err())
	if sum != 500_000_500_000 {
		log.Fatal(sum)
	}

	_, err = connection.Exec(background, "SET statement_timeout = 300")
	check(err)
	_, err = connection.Exec(background, endless)
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code != "57014" {
		log.Fatal(err)
	}
	check(connection.Close(background))
	fmt.Println("pgx")
}
