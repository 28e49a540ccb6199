using Microsoft.Data.Sqlite;

namespace LongCtx.Storage.Sqlite;

/// <summary>One connection to the database and its prepared statements. For one thread at a time.</summary>
internal sealed class Connection : IDisposable
{
    readonly SqliteConnection database;
    readonly Dictionary<string, SqliteCommand> statements = [];

    Connection(SqliteConnection database) => this.database = database;

    public static Connection Open(string path, SqliteOpenMode mode, TimeSpan busyTimeout)
    {
        var settings = new SqliteConnectionStringBuilder { DataSource = path, Mode = mode, Pooling = false, DefaultTimeout = (int)busyTimeout.TotalSeconds };
        var connection = new Connection(new(settings.ConnectionString));
        try
        {
            connection.database.Open();
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    /// <summary>SQLite opens a file that it may not write to for reading, without a word.</summary>
    public bool IsReadOnly => SQLitePCL.raw.sqlite3_db_readonly(database.Handle, "main") != 0;

    public string Version => database.ServerVersion;

    /// <summary>False also when SQLite itself has rolled back because of an error.</summary>
    public bool IsInTransaction => SQLitePCL.raw.sqlite3_get_autocommit(database.Handle) == 0;

    /// <summary>Runs a script once; nothing of it is prepared or kept.</summary>
    public void Run(string script)
    {
        using var command = database.CreateCommand();
        command.CommandText = script;
        command.ExecuteNonQuery();
    }

    /// <summary>Runs a statement with the values of ?1, ?2, ... Returns how many rows it changed.</summary>
    /// <exception cref="ArgumentException">A text among them has no UTF-8 form; so for the other two.</exception>
    public int Execute(string sql, params ReadOnlySpan<object?> values) => Bind(sql, values).ExecuteNonQuery();

    /// <summary>The only row; the default when there is none.</summary>
    public T? First<T>(string sql, Func<SqliteDataReader, T> read, params ReadOnlySpan<object?> values)
    {
        using var rows = Bind(sql, values).ExecuteReader();
        return rows.Read() ? read(rows) : default;
    }

    public List<T> All<T>(string sql, Func<SqliteDataReader, T> read, params ReadOnlySpan<object?> values)
    {
        using var rows = Bind(sql, values).ExecuteReader();
        List<T> all = [];
        while (rows.Read()) all.Add(read(rows));
        return all;
    }

    public void Dispose()
    {
        foreach (var statement in statements.Values) statement.Dispose();
        database.Dispose();
    }

    SqliteCommand Bind(string sql, ReadOnlySpan<object?> values)
    {
        if (!statements.TryGetValue(sql, out var statement))
        {
            statement = database.CreateCommand();
            statement.CommandText = sql;
            for (int i = 1; i <= values.Length; i++) statement.Parameters.Add(new() { ParameterName = "?" + i });
            statements.Add(sql, statement);
        }
        for (int i = 0; i < values.Length; i++)
        {
            if (values[i] is string text) Utf8.Check(text);
            statement.Parameters[i].Value = values[i] ?? DBNull.Value;
        }
        return statement;
    }
}
