namespace LongCtx.Cli.Bench;

/// <summary>A turn in a conversation of which nothing is in memory, because the host has just been opened.</summary>
/// <param name="Tokens">Of the conversation before the turn.</param>
/// <param name="SavedMs">From the turn to its first token, with the KV state read from disk.</param>
/// <param name="ReplayMs">The same where no KV state is left, and the conversation is computed again.</param>
/// <param name="Ratio">How many times sooner the first token is there.</param>
internal sealed record ColdStart(long Tokens, double SavedMs, double ReplayMs, double Ratio)
{
    const int ReplyTokens = 8;

    /// <summary>Both kinds in turn, each from a copy of the same directory; medians.</summary>
    public static async Task<ColdStart> MeasureAsync(string model, int threads, string directory, int tokens, int runs, CancellationToken cancellation)
    {
        string template = Path.Combine(directory, "template");
        (string conversation, long length) = await PrepareAsync(model, threads, template, tokens, cancellation);
        double[] saved = new double[runs], replay = new double[runs];
        for (int run = 0; run < runs; run++)
        {
            saved[run] = await FirstTokenAsync(RestoreGrade.Exact);
            replay[run] = await FirstTokenAsync(RestoreGrade.Replay);
        }

        double with = Median.Of(saved), without = Median.Of(replay);
        return new(length, with, without, without / with);

        async Task<double> FirstTokenAsync(RestoreGrade grade)
        {
            string copy = Path.Combine(directory, "copy");
            Copy(template, copy);
            if (grade == RestoreGrade.Replay) Directory.Delete(BenchHost.KvDirectory(copy), recursive: true);
            try
            {
                await using BenchHost host = await BenchHost.OpenAsync(model, threads, copy, cancellation);
                (double firstTokenMs, Completed end) = await host.AskAsync(conversation, new("user", "And what came then?"), ReplyTokens, cancellation);
                CheckFailedException.Require(end.Usage.Restored == grade, $"the conversation was to be restored as {grade}, and was as {end.Usage.Restored?.ToString() ?? "not at all"}");
                return firstTokenMs;
            }
            finally
            {
                Directory.Delete(copy, recursive: true);
            }
        }
    }

    static async Task<(string Conversation, long Tokens)> PrepareAsync(string model, int threads, string directory, int tokens, CancellationToken cancellation)
    {
        await using BenchHost host = await BenchHost.OpenAsync(model, threads, directory, cancellation);
        string conversation = await host.CreateAsync(cancellation);
        long length = 0;
        for (int i = 1; length < tokens; i++)
        {
            await host.Host.AppendInputAsync(BenchHost.Tenant, conversation, new([new("user", $"Wave number {i} broke over the bow, and the watch wrote it down.")]), cancellation);
            length = await LengthAsync();
        }

        await host.AskAsync(conversation, new("user", "What did the watch write?"), ReplyTokens, cancellation);
        return (conversation, await LengthAsync());

        async Task<long> LengthAsync() => (await host.Host.GetConversationAsync(BenchHost.Tenant, conversation, cancellation)).Tokens;
    }

    static void Copy(string from, string to)
    {
        foreach (string file in Directory.EnumerateFiles(from, "*", SearchOption.AllDirectories))
        {
            string copy = Path.Combine(to, Path.GetRelativePath(from, file));
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            File.Copy(file, copy);
        }
    }
}
