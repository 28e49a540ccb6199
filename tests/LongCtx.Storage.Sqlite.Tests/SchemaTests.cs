using Microsoft.Data.Sqlite;

namespace LongCtx.Storage.Sqlite.Tests;

/// <summary>Databases of other versions and of other programs.</summary>
public sealed class SchemaTests : IDisposable
{
    static readonly ConversationKey Key = new("default", "conv_1");

    readonly TemporaryDirectory directory = new();

    ValueTask<SqliteConversationStore> OpenAsync(params string[] migrations) =>
        SqliteConversationStore.OpenAsync(new() { Directory = directory.Path, Migrations = [.. Schema.Migrations, .. migrations] }, TestContext.Current.CancellationToken);

    /// <summary>What sqlite3's shell would do.</summary>
    T Shell<T>(string script, Func<SqliteDataReader, T> read)
    {
        using var connection = Connection.Open(directory.File("longctx.db"), SqliteOpenMode.ReadWriteCreate, TimeSpan.FromSeconds(1));
        connection.Run(script);
        return connection.First("SELECT (SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema)", read)!;
    }

    long Version(string script = "") => Shell(script, row => row.GetInt64(0));

    /// <summary>Each released version's tables with a conversation in them, as that version wrote it.</summary>
    public static TheoryData<int> Versions => [.. Enumerable.Range(1, Schema.Migrations.Count)];

    [Theory]
    [MemberData(nameof(Versions))]
    public async Task Open_ReleasedVersion_IsBroughtUpToDateWithItsContent(int version)
    {
        Version(await File.ReadAllTextAsync(Path.Combine(AppContext.BaseDirectory, "Data", $"schema-{version}.sql"), TestContext.Current.CancellationToken));
        Assert.Equal(version, Version());
        await using (var store = await OpenAsync())
        {
            var stop = TestContext.Current.CancellationToken;
            var head = await store.AcquireAsync(Key, "test", stop);
            Assert.Equal((4, 2, 1, "{\"turn\":1}", "Grüße"), (head!.Epoch, head.Seq, head.FirstSeq, head.State, head.Seed.Metadata["title"]));
            var events = await store.ReadAsync(Key, 0, 10, stop);
            Assert.Equal(["turn_accepted", "delta"], events.Select(e => e.Kind));
            Assert.Equal([1, 256, -1], events[0].Tokens.ToArray());
            Assert.Equal(new(1, "turn-1", "hash", TurnStatus.InProgress, 1, 0), await store.FindTurnAsync(Key, "turn-1", stop));
            var segment = Assert.Single(await store.ReadSegmentsAsync(Key, 0, 10, stop));
            Assert.Equal([7, 8], segment.Tokens.ToArray());
            Assert.Equal([Key], await store.ListLiveAsync(stop));
            Assert.Equal(version < 2 ? [] : [new StoredBlob("older", 2), new("state", 3)], await store.ListBlobsAsync(Key, stop));
            if (version >= 2)
            {
                byte[] content = new byte[3];
                await using var blob = await store.ReadBlobAsync(Key, "state", stop);
                await blob!.ReadExactlyAsync(content, stop);
                Assert.Equal([0, 255, 7], content);
            }
            Assert.Equal(AppendStatus.Appended, await store.PutBlobAsync(Key, 4, "state", new([1]), stop));
            Assert.Equal(new(AppendStatus.Appended, 3), await store.AppendAsync(Key, new(4, 2, Guid.NewGuid(), [new(3, "delta", default, "{}")], ""), stop));
        }
        Assert.Equal(Schema.Migrations.Count, Version());
    }

    [Fact]
    public async Task Open_OlderVersion_MigratesOnce()
    {
        const string next = "CREATE TABLE next (text TEXT); INSERT INTO next VALUES ('migrated');", afterNext = "ALTER TABLE conversations ADD COLUMN more TEXT DEFAULT 'more';";
        await using (var store = await OpenAsync()) Assert.True(await store.CreateAsync(Key, new("m", 1, new Dictionary<string, string>()), TestContext.Current.CancellationToken));
        for (int i = 0; i < 2; i++)
        {
            await using var store = await OpenAsync(next, afterNext);
            Assert.NotNull(await store.FindAsync(Key, TestContext.Current.CancellationToken));
        }
        Assert.Equal(Schema.Migrations.Count + 2, Version("INSERT INTO conversations (tenant, id, model, created, metadata) SELECT text, text, text, 0, '{}' FROM next")); // one row
    }

    [Fact]
    public async Task Open_MigrationFails_LeavesTheOlderVersionAsItWas()
    {
        await using (await OpenAsync()) { }
        var before = Shell("", row => (row.GetInt64(0), row.GetInt64(1)));
        var refusal = await Assert.ThrowsAsync<StoreException>(() => OpenAsync("CREATE TABLE half (a TEXT); CREATE TABLE conversations (a TEXT);").AsTask());
        Assert.Contains("longctx.db", refusal.Message, StringComparison.Ordinal);
        Assert.Equal(before, Shell("", row => (row.GetInt64(0), row.GetInt64(1))));
        await using (await OpenAsync()) { }
    }

    [Fact]
    public async Task Open_NewerVersion_IsRefusedNamingBoth()
    {
        await using (await OpenAsync()) { }
        Version($"PRAGMA user_version = {Schema.Migrations.Count + 6}");
        var refusal = await Assert.ThrowsAsync<StoreException>(() => OpenAsync().AsTask());
        Assert.Contains($"version {Schema.Migrations.Count + 6}", refusal.Message, StringComparison.Ordinal);
        Assert.Contains($"up to {Schema.Migrations.Count}", refusal.Message, StringComparison.Ordinal);
        Assert.Equal(Schema.Migrations.Count + 6, Version());
    }

    [Theory]
    [InlineData("CREATE TABLE theirs (a TEXT)")]
    [InlineData("PRAGMA application_id = 252006675")]
    [InlineData("PRAGMA user_version = 1")]
    public async Task Open_OtherProgramsDatabase_IsRefusedAndUntouched(string script)
    {
        Version(script);
        byte[] before = await File.ReadAllBytesAsync(directory.File("longctx.db"), TestContext.Current.CancellationToken);
        var refusal = await Assert.ThrowsAsync<StoreException>(() => OpenAsync().AsTask());
        Assert.Contains("another program's", refusal.Message, StringComparison.Ordinal);
        Assert.Equal(before, await File.ReadAllBytesAsync(directory.File("longctx.db"), TestContext.Current.CancellationToken));
    }

    public void Dispose() => directory.Dispose();
}
