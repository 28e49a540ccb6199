using System.CommandLine;
using System.Diagnostics;
using LongCtx.Cli.Evaluation;
using LongCtx.Cli.Options;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Scheduling;

namespace LongCtx.Cli.Commands;

internal static class EvalFreeCommand
{
    const int PartSize = 10_000;

    sealed record Part(int From, int To, int DistinctTrigrams, int LongestRepeat, double MsPerToken, double ResidentMemoryMb);

    sealed record Report(int Tokens, double MsPerToken, double PeakMemoryMb, IReadOnlyList<Part> Parts, string End);

    public static Command Create(Terminal terminal)
    {
        Option<string> model = Common.Model();
        Option<int> tokens = Value.Int("--tokens", "How many tokens to generate.", 1, 1_000_000_000, 100_000);
        var prompt = new Option<string>("--prompt") { Description = "How the text begins; no template.", HelpName = "T", DefaultValueFactory = _ => "Once upon a time" };
        var policy = new PolicyChoice();
        var sampling = new SamplingChoice(temperature: 1, topP: 1, "Makes the run repeatable. Unset: 0.", () => 0);
        Option<int> threads = Common.Threads();
        Option<bool> json = Common.Json();
        var command = new Command("free", "Generate freely, past every end-of-text, and report signs of a collapse for every 10,000 tokens.")
        {
            model, tokens, prompt, threads, json,
        };
        sampling.AddTo(command);
        policy.AddTo(command);
        command.SetAction(async (result, cancellation) =>
        {
            await using var engine = new InferenceEngine(new EngineOptions { Threads = result.GetValue(threads) });
            DecoderModel loaded = await ModelFiles.LoadDecoderAsync(engine, result.GetValue(model)!);
            int[] start = loaded.Tokenizer.Encode(result.GetValue(prompt)!);
            if (start.Length == 0) throw new LongCtxException(ErrorCode.InvalidRequest, "the prompt is empty: give at least one character", "prompt");
            int count = result.GetValue(tokens);
            AttentionPolicy rule = policy.Read(result).Resolve(loaded.TrainedLength);
            if (rule.LengthMax(loaded.TrainedLength) is { } max && start.Length + (long)count > max)
            {
                throw new LongCtxException(ErrorCode.ContextLengthExceeded,
                    $"rule {rule} holds at most {max} tokens for this model: give --tokens up to {Math.Max(0, max - start.Length)}, or a policy that evicts (endless, streaming, window)", "policy");
            }

            Generation generation = engine.Submit(new GenerationRequest
            {
                Sequence = engine.CreateSequence(loaded, rule),
                Tokens = start,
                Sampling = sampling.Read(result),
                MaxTokens = count,
            });
            Report report = await terminal.WithProgressAsync($"rule {rule}", count, progress => Collect(generation, loaded, count, progress, cancellation));
            if (result.GetValue(json)) terminal.WriteJson(report);
            else Print(terminal, rule, report);
            return App.Success;
        });
        return command;
    }

    static Report Collect(Generation generation, DecoderModel model, int count, Action<long> progress, CancellationToken cancellation)
    {
        using CancellationTokenRegistration registration = cancellation.Register(generation.Cancel);
        var ids = new List<int>(Math.Min(count, PartSize));
        var parts = new List<Part>();
        long begin = Stopwatch.GetTimestamp(), partBegin = begin;
        int done = 0;
        foreach (GeneratedToken token in generation.Tokens.ReadAllAsync(CancellationToken.None).ToBlockingEnumerable(CancellationToken.None))
        {
            if (done % PartSize == 0) ids.Clear();
            ids.Add(token.Id);
            progress(++done);
            if (done % PartSize != 0 && done != count) continue;
            int[] part = [.. ids];
            double ms = Stopwatch.GetElapsedTime(partBegin).TotalMilliseconds / part.Length;
            parts.Add(new(done - part.Length, done, Repetition.DistinctTrigrams(part), Repetition.LongestRepeat(part), ms, ProcessMemory.ResidentMegabytes));
            partBegin = Stopwatch.GetTimestamp();
        }

        cancellation.ThrowIfCancellationRequested();
        double perToken = Stopwatch.GetElapsedTime(begin).TotalMilliseconds / Math.Max(1, done);
        string end = model.Tokenizer.Decode([.. ids.TakeLast(50)], skipSpecial: false);
        return new(done, perToken, ProcessMemory.PeakMegabytes, parts, end);
    }

    static void Print(Terminal terminal, AttentionPolicy rule, Report report)
    {
        terminal.Print($"{report.Tokens} tokens under rule {rule}: {report.MsPerToken:F2} ms per token, peak memory {report.PeakMemoryMb:F0} MB");
        terminal.Table(["from", "to", "distinct trigrams", "longest repeat", "ms/token", "resident MB"], report.Parts.Select(p => (string[])
            [Text.Of(p.From), Text.Of(p.To), Text.Of(p.DistinctTrigrams), Text.Of(p.LongestRepeat), Text.Of(p.MsPerToken, "F2"), Text.Of(p.ResidentMemoryMb, "F0")]));
        terminal.Output.WriteLine("It ends: " + report.End.ReplaceLineEndings(" "));
    }
}
