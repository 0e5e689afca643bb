import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.util.HashSet;
import java.util.Set;

/** pgjdbc against Footfall: metadata, every column of events, bound values, fetching in pieces, cancel, time-out. */
public class JdbcClient {
    static final String ENDLESS = "SELECT count(*) FROM generate_series(1, 100000000000)";

    static void check(boolean holds, Object told) {
        if (!holds) throw new IllegalStateException(String.valueOf(told));
    }

    public static void main(String[] arguments) throws Exception {
        try (Connection connection = DriverManager.getConnection(arguments[0])) {
            DatabaseMetaData about = connection.getMetaData();
            check(about.getDatabaseProductName().equals("PostgreSQL"), about.getDatabaseProductName());
            Set<String> tables = new HashSet<>();
            try (ResultSet found = about.getTables(null, "public", "%", new String[] {"TABLE", "VIEW"})) {
                while (found.next()) tables.add(found.getString("TABLE_NAME"));
            }
            check(tables.contains("events") && tables.contains("abandonment"), tables);
            Set<String> columns = new HashSet<>();
            try (ResultSet found = about.getColumns(null, "public", "events", "%")) {
                while (found.next()) columns.add(found.getString("COLUMN_NAME") + " " + found.getString("TYPE_NAME"));
            }
            check(columns.contains("event_time timestamptz") && columns.contains("event_name text"), columns);
            try (ResultSet found = about.getSchemas()) {
                boolean isThere = false;
                while (found.next()) isThere |= found.getString(1).equals("public");
                check(isThere, "no schema");
            }
            try (ResultSet found = about.getPrimaryKeys(null, "public", "events")) {
                check(!found.next(), "a primary key");
            }

            // From the fifth use on values come in binary.
            for (int use = 0; use < 8; use++) {
                try (var all = connection.prepareStatement("SELECT * FROM events ORDER BY event_time LIMIT 20");
                        ResultSet rows = all.executeQuery()) {
                    int count = 0, nulls = 0, width = rows.getMetaData().getColumnCount();
                    for (; rows.next(); count++) {
                        for (int column = 1; column <= width; column++) {
                            if (rows.getObject(column) == null) nulls++;
                        }
                        check(rows.getTimestamp("event_time") != null, "no time");
                    }
                    check(count == 20 && nulls > 0 && width > 50, count + " " + nulls + " " + width);
                }
                try (var bound = connection.prepareStatement(
                        "SELECT count(*) FROM events WHERE event_name = ? AND event_time >= ? AND event_date > ?")) {
                    bound.setString(1, "view_item");
                    bound.setTimestamp(2, Timestamp.valueOf("2020-01-01 00:00:00"));
                    bound.setDate(3, Date.valueOf("2020-01-01"));
                    ResultSet rows = bound.executeQuery();
                    check(rows.next() && rows.getLong(1) > 0, "no rows");
                }
            }

            // A million rows in pieces, each as large as is asked for.
            connection.setAutoCommit(false);
            try (Statement reading = connection.createStatement()) {
                reading.setFetchSize(10_000);
                long sum = 0;
                ResultSet rows = reading.executeQuery("SELECT value FROM generate_series(1, 1000000)");
                while (rows.next()) sum += rows.getLong(1);
                check(sum == 500_000_500_000L, sum);
            }
            connection.rollback();
            connection.setAutoCommit(true);

            try (Statement slow = connection.createStatement()) {
                slow.setQueryTimeout(1);
                slow.executeQuery(ENDLESS);
                check(false, "no time-out");
            } catch (SQLException error) {
                check("57014".equals(error.getSQLState()), error);
            }
            try (Statement wrong = connection.createStatement()) {
                wrong.executeQuery("SELECT nothing FROM events");
                check(false, "no mistake");
            } catch (SQLException error) {
                check("42703".equals(error.getSQLState()), error);
            }
            System.out.println(about.getDriverName() + " " + about.getDriverVersion());
        }
    }
}
