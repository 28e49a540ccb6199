using System.Numerics.Tensors;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Runtime;

namespace LongCtx.Cli.Evaluation;

/// <param name="Found">Prompts whose greedy answer is the key.</param>
/// <param name="MeanNll">Nats summed over a key's digits, averaged over the prompts.</param>
internal sealed record PasskeyReport(int Count, int Found, double MeanNll);

/// <summary>Asks a model for passkeys: by greedy decoding, and by the likelihood of the right digits.</summary>
internal sealed class PasskeyEvaluation(IModelRunner runner, AttentionPolicy policy, Func<int[], string> decode) : IDisposable
{
    /// <summary>Tokens that a greedy answer may take beyond the key's own, to see that it ends there.</summary>
    const int AnswerSlack = 3;
    const int ChunkMax = 256;

    readonly StepBatch _batch = new();

    public (bool Found, double Nll) Ask(PasskeyPrompt prompt, Action<long> progress, CancellationToken cancellation)
    {
        using var sequence = new KvSequence(runner.Pool, policy);
        int last = prompt.Tokens.Length - 1;
        for (int done = 0; done < last;)
        {
            cancellation.ThrowIfCancellationRequested();
            int count = Math.Min(Math.Min(ChunkMax, runner.StepTokensMax), last - done);
            Step(sequence, prompt.Tokens.AsSpan(done, count), LogitsKind.None);
            done += count;
            progress(done);
        }

        double nll;
        using (KvSequence forced = sequence.Fork()) nll = Score(forced, prompt);
        string answer = Answer(sequence, prompt.Tokens[last], prompt.Answer.Length + AnswerSlack);
        return (IsKey(answer, prompt.Key), nll);
    }

    /// <summary>The right answer is fed.</summary>
    double Score(KvSequence sequence, PasskeyPrompt prompt)
    {
        int[] fed = [prompt.Tokens[^1], .. prompt.Answer[..^1]];
        _batch.Clear();
        int entry = _batch.AddScored(sequence, fed, prompt.Answer);
        runner.Step(_batch);
        double nll = 0;
        foreach (float logprob in _batch.Logprobs(entry)) nll -= logprob;
        return nll;
    }

    string Answer(KvSequence sequence, int token, int count)
    {
        var answer = new List<int>();
        while (answer.Count < count)
        {
            token = TensorPrimitives.IndexOfMax<float>(Step(sequence, [token], LogitsKind.Last));
            answer.Add(token);
        }

        return decode([.. answer]);
    }

    ReadOnlySpan<float> Step(KvSequence sequence, ReadOnlySpan<int> tokens, LogitsKind logits)
    {
        _batch.Clear();
        int entry = _batch.Add(sequence, tokens, logits);
        runner.Step(_batch);
        return logits == LogitsKind.None ? default : _batch.Logits(entry);
    }

    /// <summary>"12345", " 12345.", but not "123456".</summary>
    internal static bool IsKey(string answer, string key)
    {
        string text = answer.TrimStart();
        return text.StartsWith(key, StringComparison.Ordinal) && (text.Length == key.Length || !char.IsAsciiDigit(text[key.Length]));
    }

    public void Dispose() => _batch.Dispose();
}
