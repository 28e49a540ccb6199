using System.Reflection;

namespace LongCtx.Storage.Sqlite.Tests;

public sealed class StatementTests : IDisposable
{
    readonly TemporaryDirectory directory = new();

    public static TheoryData<string> Names =>
        [.. typeof(Sql).GetFields(BindingFlags.Public | BindingFlags.Static).Where(f => f.IsLiteral).Select(f => f.Name)];

    /// <summary>Every call finds its rows by an index, in order: no scan and no sort, however much is stored.</summary>
    [Theory]
    [MemberData(nameof(Names))]
    public void Plan_AnyStatement_SearchesAnIndex(string name)
    {
        string sql = (string)typeof(Sql).GetField(name)!.GetRawConstantValue()!;
        using var connection = SqliteConversationStore.OpenWriter(new() { Directory = directory.Path });
        string[] steps = [.. connection.All("EXPLAIN QUERY PLAN " + sql, row => row.GetString(3))];
        TestContext.Current.TestOutputHelper?.WriteLine(string.Join('\n', steps));
        Assert.All(steps, step => Assert.Matches("^(SEARCH |SCALAR SUBQUERY)", step));
        if (!sql.StartsWith("INSERT", StringComparison.Ordinal)) Assert.NotEmpty(steps);
    }

    public void Dispose() => directory.Dispose();
}
