namespace LongCtx.Conversations.Tests;

/// <summary>What a client got for one request.</summary>
internal sealed record Reply(string Text, Usage Usage, FinishReason Reason, int[] Ids)
{
    public int Computed => Usage.PromptTokens - Usage.CachedTokens;
}

internal static class Client
{
    public static async Task<Reply> CompleteAsync(ICompletionHost host, string tenant, CompletionRequest request)
    {
        var text = new System.Text.StringBuilder();
        var ids = new List<int>();
        CompletionStarted? started = null;
        CompletionFinished? finished = null;
        await foreach (var e in host.CompleteAsync(tenant, request, TestContext.Current.CancellationToken))
        {
            Assert.Null(finished);
            switch (e)
            {
                case CompletionStarted s:
                    Assert.Null(started);
                    started = s;
                    break;
                case CompletionDelta d:
                    Assert.NotNull(started);
                    text.Append(d.Text);
                    ids.AddRange(d.Tokens.Select(t => t.Id));
                    break;
                case CompletionFinished f:
                    finished = f;
                    break;
            }
        }
        Assert.NotNull(finished);
        Assert.Equal((started!.PromptTokens, started.CachedTokens), (finished.Usage.PromptTokens, finished.Usage.CachedTokens));
        Assert.Equal(ids.Count, request.TopLogprobs is null ? 0 : finished.Usage.CompletionTokens);
        return new(text.ToString(), finished.Usage, finished.Reason, [.. ids]);
    }
}
