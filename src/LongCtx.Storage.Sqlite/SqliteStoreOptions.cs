using LongCtx.Conversations.Storage;
using Microsoft.Win32.SafeHandles;

namespace LongCtx.Storage.Sqlite;

/// <summary>Where a <see cref="SqliteConversationStore"/> keeps its database, and what its acknowledgements promise.</summary>
public sealed record SqliteStoreOptions
{
    /// <summary>Belongs to one process at a time; made if it is not there, readable by its owner only.</summary>
    public required string Directory { get; init; }

    public Durability Durability { get; init; } = Durability.Standard;

    /// <summary>Dates deletions and times the syncs of <see cref="Durability.Standard"/>.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;

    /// <summary>How long a write waits while another program, such as sqlite3's shell, has the database locked. Whole seconds.</summary>
    internal TimeSpan BusyTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Tests count the syncs, and let them fail.</summary>
    internal Action<SafeFileHandle> Flush { get; init; } = RandomAccess.FlushToDisk;

    internal IReadOnlyList<string> Migrations { get; init; } = Schema.Migrations;

    internal string DatabasePath => Path.Combine(Directory, "longctx.db");
}
