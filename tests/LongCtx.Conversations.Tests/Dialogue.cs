using LongCtx.Conversations.Local;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Scheduling;

namespace LongCtx.Conversations.Tests;

/// <summary>A client that keeps a chat's messages, and beside them what the model must have seen: the token ids of the naive way.</summary>
internal sealed class Dialogue(EngineFixture engine, LocalConversationHost host, DecoderModel model, string tenant = "a")
{
    public List<ChatMessage> Messages { get; } = [];

    /// <summary>Whole prompt of the latest request, generated ids of earlier replies as they were generated.</summary>
    public List<int> PromptIds { get; } = [];

    public Reply Latest { get; private set; } = null!;

    public SamplingOptions Sampling { get; init; } = SamplingOptions.Greedy;

    /// <summary>Whether tokenising the latest reply's text gives its ids again.</summary>
    public bool LatestIsCanonical => Encode(Latest.Text).SequenceEqual(LatestIds);

    public async Task<Reply> SayAsync(string text, int maxTokens = 24, IReadOnlyList<string>? stop = null)
    {
        Continue(text);
        return await AskAsync(maxTokens, stop);
    }

    /// <summary>Sends the messages as they are and adds the reply to them.</summary>
    public async Task<Reply> AskAsync(int maxTokens = 24, IReadOnlyList<string>? stop = null)
    {
        if (PromptIds.Count == 0) PromptIds.AddRange(Encode(Render(Messages)));
        Latest = await Client.CompleteAsync(host, tenant, Request(maxTokens, stop));
        Messages.Add(new("assistant", Latest.Text));
        return Latest;
    }

    /// <summary>The same prompt computed by a new sequence from its first token on.</summary>
    public async Task<string> RecomputedAsync(int maxTokens = 24, PolicyOptions? options = null)
    {
        var decoder = new LocalDecoder(model, options ?? new());
        var policy = decoder.PolicyFor(decoder.Chat([.. Messages.Take(Messages.Count - 1)]).SystemTokens);
        var sequence = engine.Engine.CreateSequence(model, policy);
        int turn = Encode("<|im_start|>")[0];
        var generation = engine.Engine.Submit(new()
        {
            Sequence = sequence, Tokens = PromptIds.ToArray(), Sampling = Sampling, MaxTokens = maxTokens, StopTokens = model.StopTokens,
            TurnStarts = [.. Enumerable.Range(1, PromptIds.Count - 1).Where(i => PromptIds[i] == turn)],
        });
        string text = (await generation.Completion).Text;
        sequence.Drop();
        return text;
    }

    /// <summary>As <see cref="AskAsync"/> after the messages were changed: the prompt is what tokenising them as a whole gives.</summary>
    public Task<Reply> AskAgainAsync(int maxTokens = 24)
    {
        PromptIds.Clear();
        return AskAsync(maxTokens);
    }

    public CompletionRequest Request(int maxTokens, IReadOnlyList<string>? stop = null) => new()
    {
        Model = model.Name, Messages = [.. Messages], MaxTokens = maxTokens, Sampling = Sampling, Stop = stop ?? [], TopLogprobs = 0,
    };

    /// <summary>Ids of the latest reply, without the token that ended it.</summary>
    public int[] LatestIds => Latest.Ids is [.. var ids, var last] && model.StopTokens.Contains(last) ? ids : Latest.Ids;

    /// <summary>Tokens of the first messages.</summary>
    public int TokensOf(int count) => Encode(model.Template!.Render([.. Messages.Take(count)], false, model.BosText, model.EosText)).Length;

    /// <summary>Another client with the same past.</summary>
    public Dialogue Branch()
    {
        var branch = new Dialogue(engine, host, model, tenant) { Latest = Latest };
        branch.Messages.AddRange(Messages);
        branch.PromptIds.AddRange(PromptIds);
        return branch;
    }

    /// <summary>Adds a message: in tokens, rendered(history + new) minus rendered(history), behind the reply's own ids.</summary>
    void Continue(string text)
    {
        bool follows = PromptIds.Count > 0 && Messages[^1].Role == "assistant";
        string asked = follows ? Render(Messages[..^1]) + Messages[^1].Content : "";
        Messages.Add(new("user", text));
        if (!follows) return;
        string whole = Render(Messages);
        Assert.StartsWith(asked, whole, StringComparison.Ordinal);
        PromptIds.AddRange(LatestIds);
        PromptIds.AddRange(Encode(whole[asked.Length..]));
    }

    string Render(IReadOnlyList<ChatMessage> messages) => model.Template!.Render(messages, true, model.BosText, model.EosText);

    int[] Encode(string text) => model.Tokenizer.Encode(text);
}
