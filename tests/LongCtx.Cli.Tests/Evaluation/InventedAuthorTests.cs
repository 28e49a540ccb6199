using LongCtx.Cli.Evaluation;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Cpu;
using LongCtx.Engine.Runtime;
using LongCtx.Engine.Training;

namespace LongCtx.Cli.Tests.Evaluation;

/// <summary>A temporary adapter and an author whom no model has read: what is learned, that nothing of it stays, and that nobody else notices.</summary>
public sealed class InventedAuthorTests(ITestOutputHelper output)
{
    const int Seed = 20261122, Chunk = 128, Chunks = 40, Later = 30, StepTokens = 256;

    static readonly AttentionPolicy s_policy = new(4, 64, 1, 256, 16);

    [Fact]
    public void Text_IsAFunctionOfTheSeed_AndEveryAuthorHasWordsOfTheirOwn()
    {
        string text = new InventedAuthor(Seed).Write(3000);
        Assert.Equal(text, new InventedAuthor(Seed).Write(3000));
        Assert.InRange(text.Split(' ').Length, 2500, 3100);
        HashSet<string> words = Words(text), others = Words(new InventedAuthor(Seed + 1).Write(3000)), english = Words(File.ReadAllText(Cli.Book));
        words.ExceptWith(english);
        output.WriteLine($"seed {Seed}: {words.Count} words that book 3125 lacks, {words.Count(others.Contains)} of them another author's too: {text[..300]}");
        Assert.True(words.Count > 150 && words.Count(others.Contains) < words.Count / 20);

        static HashSet<string> Words(string text) => [.. text.ToLowerInvariant().Split([' ', '\n', '.', ',', '"', ';', '-', '—'], StringSplitOptions.RemoveEmptyEntries)];
    }

    [Fact]
    public void LaterText_IsLikelierWithAnAdapter_AsEverWithoutIt_AndAnotherConversationNeverNotices()
    {
        using DecoderFiles files = DecoderFiles.Open("pg19-7m");
        int[] author = Tokens(Seed), another = Tokens(Seed + 1);
        (double[] plain, double[] otherAlone) = Read(learns: false, out _);
        (double[] adapted, double[] otherBeside) = Read(learns: true, out double[] afterwards);

        double before = Perplexity(plain[Later..]), after = Perplexity(adapted[Later..]);
        output.WriteLine($"seed {Seed}: perplexity of chunks {Later} to {Chunks} is {before:F3} without and {after:F3} with the adapter, {100 * (1 - after / before):F1} % less");
        Assert.Equal(plain[0], adapted[0]); // version 0 is the base
        Assert.True(after < 0.1 * before, $"{after} against {before}");
        Assert.Equal(plain, afterwards);
        Assert.Equal(otherAlone, otherBeside);

        int[] Tokens(int seed) => files.Tokenizer.Encode(new InventedAuthor(seed).Write(Chunk * (Chunks + 1)))[..(Chunk * (Chunks + 1) + 1)];

        // Two conversations in one batch, chunk by chunk, on a runner of their own: the first one learns, or not. Afterwards its adapter is discarded.
        (double[] Author, double[] Another) Read(bool learns, out double[] discarded)
        {
            using CpuModelRunner runner = files.Load(threads: 2, s_policy, tokens: 4096, StepTokens, sequences: 4);
            using var trainer = new LoraTrainer(runner);
            using KvSequence first = new(runner.Pool, s_policy), second = new(runner.Pool, s_policy), fresh = new(runner.Pool, s_policy);
            using var batch = new StepBatch();
            double[] nll = new double[Chunks], otherNll = new double[Chunks];
            LoraState state = LoraState.Create(new(files.Config, 16, 16, LoraTargets.All), seed: 1);
            for (int i = 0; i < Chunks; i++)
            {
                batch.Clear();
                int own = Add(batch, first, author, i), other = Add(batch, second, another, i);
                runner.Step(batch);
                (nll[i], otherNll[i]) = (Nll(batch, own), Nll(batch, other));
                if (!learns) continue;
                int end = (i + 1) * Chunk + 1, start = Math.Max(0, end - 2 * Chunk);
                using TrainingRun run = trainer.Begin(state, new(author.AsMemory(start..end), end - start - Chunk), new());
                while (!run.Slice(TimeSpan.MaxValue))
                {
                }

                state = run.Result.State ?? throw new InvalidOperationException(run.Result.Rejection);
                first.Adapter = state.Weights;
            }

            discarded = new double[Chunks];
            for (int i = 0; i < Chunks; i++)
            {
                batch.Clear();
                int entry = Add(batch, fresh, author, i);
                runner.Step(batch);
                discarded[i] = Nll(batch, entry);
            }

            return (nll, otherNll);
        }
    }

    static int Add(StepBatch batch, KvSequence sequence, int[] text, int chunk) =>
        batch.AddScored(sequence, text.AsSpan(chunk * Chunk, Chunk), text.AsSpan(chunk * Chunk + 1, Chunk));

    static double Nll(StepBatch batch, int entry)
    {
        double sum = 0;
        foreach (float logprob in batch.Logprobs(entry)) sum -= logprob;
        return sum;
    }

    static double Perplexity(double[] nll) => Math.Exp(nll.Sum() / (nll.Length * Chunk));
}
