namespace LongCtx.Api.Tests;

public sealed class ScriptedApiTests : ApiConformance
{
    private protected override string ChatModel => ScriptedHost.Chat;

    private protected override string EmbeddingModel => ScriptedHost.Embedder;

    private protected override string LongQuestion => "long";

    private protected override ValueTask<ICompletionHost> OpenHostAsync() => new(new ScriptedHost
    {
        Reply = request =>
        {
            string question = request.Messages![^1].Content;
            if (question == "long") return string.Join(' ', Enumerable.Repeat("word", 1_000_000));
            if (request.Sampling.Temperature == 0) return $"You said: {question} – and I say 👍🏽 so there.";
            Random random = new((int)request.Sampling.Seed);
            return string.Join(' ', Enumerable.Range(0, 10).Select(_ => random.Next(1000)));
        },
        Before = async (token, cancellation) =>
        {
            if (token % 100 == 99) await Task.Delay(1, cancellation);
        },
    });
}
