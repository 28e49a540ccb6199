namespace LongCtx.Client.Tests;

public sealed partial class RealServer
{
    public LongCtxClient Client(LongCtxClientOptions? options = null) => new((options ?? new()) with { Server = Address });

    /// <summary>A turn that goes on for exactly so many tokens: the model must not end it by itself.</summary>
    public SubmitTurn Turn(string text, int tokens, string? id = null)
    {
        SubmitTurn turn = LongCtxClient.NewTurn(text, id);
        return turn with
        {
            Options = turn.Options with
            {
                MaxTokens = tokens,
                Sampling = turn.Options.Sampling with { RepetitionPenalty = 1.1f, LogitBias = StopTokens.ToDictionary(stop => stop, _ => -100f) },
            },
        };
    }
}
