using System.CommandLine;
using System.Diagnostics;
using LongCtx.Cli.Bench;
using LongCtx.Cli.Options;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Cpu;
using LongCtx.Engine.Models;
using LongCtx.Engine.Scheduling;

namespace LongCtx.Cli.Commands;

internal static class BenchCommand
{
    const int TokensMax = 10_000_000;
    const int ConversationsMax = 256;
    const int AdapterRank = 8;

    sealed record Plan(int[] Prefill, DecodeLoad[] Decode, int[] Stream, int Adapters, TimeSpan? TrainingSlice)
    {
        /// <summary>What runs when nothing is chosen.</summary>
        public static readonly Plan Default = new([512, 2048], [new(1, 512), new(16, 512)], [1000, 10_000, 100_000], 0, null);
    }

    public static Command Create(Terminal terminal)
    {
        Option<string> model = Common.Model();
        Option<int> threads = Common.Threads();
        Option<int[]?> prefill = Value.IntList("--prefill", "Prompt lengths to time.", TokensMax);
        Option<DecodeLoad[]?> decode = DecodeOption();
        Option<int[]?> stream = Value.IntList("--stream", "Positions of one stream at which to time a token.", TokensMax);
        Option<int> adapters = Value.Int("--adapters", $"Also times every --decode with so many different adapters (rank {AdapterRank}, all projections, random numbers) among its conversations.", 0, ConversationsMax, 0);
        var training = new Option<bool>("--training") { Description = "Also times every --decode while the conversations' adapters learn all the time: needs --adapters." };
        Option<double> slice = Value.Double("--training-slice", "Milliseconds of learning between two steps.", 0, 1000, new EngineOptions().TrainingSlice.TotalMilliseconds, open: true);
        Option<int> runs = Value.Int("--runs", "Every figure is the median of this many runs.", 3, 1000, 3);
        var policy = new PolicyChoice();
        Option<bool> json = Common.Json();
        var command = new Command("bench",
            "Speed on this machine. Without --prefill, --decode and --stream all of 512,2048, 1@512,16@512 and 1000,10000,100000 is measured, which takes minutes.")
        {
            model, threads, prefill, decode, stream, adapters, training, slice, runs, json,
        };
        policy.AddTo(command);
        command.Validators.Add(result =>
        {
            bool trains = Common.IsGiven(result, training);
            if (trains && result.GetValue(adapters) == 0) result.AddError("--training needs --adapters: adapters are what is trained");
            if (!trains && Common.IsGiven(result, slice)) result.AddError("--training-slice is of --training: give both");
        });
        command.Subcommands.Add(BenchStoreCommand.Create(terminal));
        command.Subcommands.Add(BenchClusterCommand.Create(terminal));
        command.SetAction(async (result, cancellation) =>
        {
            var plan = new Plan(result.GetValue(prefill) ?? [], result.GetValue(decode) ?? [], result.GetValue(stream) ?? [], result.GetValue(adapters),
                result.GetValue(training) ? TimeSpan.FromMilliseconds(result.GetValue(slice)) : null);
            if (plan is { Prefill: [], Decode: [], Stream: [] }) plan = Plan.Default with { Adapters = plan.Adapters, TrainingSlice = plan.TrainingSlice };
            int threadCount = result.GetValue(threads), runCount = result.GetValue(runs);
            string path = result.GetValue(model)!;
            AttentionPolicy rule;
            using (var opened = DecoderFiles.Open(path))
            {
                rule = policy.ResolveForEvaluation(result, opened.Config.TrainedLength);
                if (PolicyChoice.Caution(rule, opened.Config.TrainedLength, LongestOf(plan)) is { } caution) terminal.Warn($"rule {rule}: {caution}");
            }

            BenchReport report = await terminal.WithProgressAsync("bench", WorkOf(plan, runCount),
                progress => Run(path, rule, plan, threadCount, runCount, progress, cancellation));
            if (plan.TrainingSlice is { } most) report = report with { Training = await MeasureTrainingAsync(path, rule, plan, threadCount, most, runCount, cancellation), PeakMemoryMb = ProcessMemory.PeakMegabytes };
            if (result.GetValue(json)) terminal.WriteJson(report);
            else Print(terminal, rule, report);
            return App.Success;
        });
        return command;
    }

    static BenchReport Run(string path, AttentionPolicy rule, Plan plan, int threads, int runs, Action<long> progress, CancellationToken cancellation)
    {
        (double loadMs, double firstTokenMs) = MeasureLoad(path, rule, threads, runs, cancellation);
        using var files = DecoderFiles.Open(path);
        int conversations = plan.Decode.Select(d => d.Conversations).DefaultIfEmpty(0).Max();
        using CpuModelRunner runner = files.Load(threads, rule, LongestOf(plan) + Workload.StepsMax, Workload.ChunkMax, Math.Max(2 * conversations, plan.Stream.Length + 2)); // a sequence and its copy; a stream and its stops
        using var workload = new Workload(runner, rule, runs, cancellation);
        long done = 0;
        var prefill = new List<PrefillFigure>();
        foreach (int tokens in plan.Prefill)
        {
            prefill.Add(new(tokens, workload.PrefillTokensPerSecond(tokens)));
            progress(done += (long)tokens * runs);
        }

        LoraWeights[] weights = [.. Enumerable.Range(0, plan.Adapters).Select(i => RandomAdapter(files.Config, seed: 200 + i))];
        var decode = new List<DecodeFigure>();
        var adapters = new List<AdapterFigure>();
        foreach (DecodeLoad load in plan.Decode)
        {
            decode.Add(new(load.Conversations, load.Context, workload.DecodeTokensPerSecond(load)));
            if (weights.Length > 0) adapters.Add(workload.DecodeWithAdapters(load, weights));
            progress(done += (long)load.Context * load.Conversations);
        }

        var stream = new List<StreamFigure>();
        foreach ((int position, double ms) in workload.Stream([.. plan.Stream.Order()], position => progress(done + position)))
            stream.Add(new(position, ms));
        return new(threads, loadMs, ProcessMemory.PeakMegabytes, prefill, decode, stream, weights.Length > 0 ? adapters : null, null, firstTokenMs, workload.AllocatedBytesPerStep);
    }

    static async Task<IReadOnlyList<TrainingFigure>> MeasureTrainingAsync(string path, AttentionPolicy rule, Plan plan, int threads, TimeSpan slice, int runs, CancellationToken cancellation)
    {
        var figures = new List<TrainingFigure>();
        foreach (DecodeLoad load in plan.Decode) figures.Add(await TrainingLoad.MeasureAsync(path, rule, load, plan.Adapters, AdapterRank, threads, slice, runs, cancellation));
        return figures;
    }

    /// <summary>From nothing to a model that can compute, and to its first token.</summary>
    static (double LoadMs, double FirstTokenMs) MeasureLoad(string path, AttentionPolicy rule, int threads, int runs, CancellationToken cancellation)
    {
        var loads = new List<double>();
        double firstToken = Median.Of(runs, () =>
        {
            cancellation.ThrowIfCancellationRequested();
            long start = Stopwatch.GetTimestamp();
            using var files = DecoderFiles.Open(path);
            _ = files.Tokenizer;
            using CpuModelRunner runner = files.Load(threads, rule, 1, Workload.ChunkMax);
            loads.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
            using var workload = new Workload(runner, rule, 1, cancellation);
            workload.FirstToken();
            return Stopwatch.GetElapsedTime(start).TotalMilliseconds;
        });
        return (Median.Of(loads), firstToken);
    }

    static LoraWeights RandomAdapter(DecoderConfig config, int seed)
    {
        var random = new Random(seed);
        var weights = new LoraWeights(new(config, AdapterRank, AdapterRank, LoraTargets.All));
        for (int layer = 0; layer < config.LayerCount; layer++)
            foreach (LoraTargets target in weights.Layout.PresentTargets)
            {
                foreach (ref float x in weights.A(layer, target)) x = (random.NextSingle() - 0.5f) / 10;
                foreach (ref float x in weights.B(layer, target)) x = (random.NextSingle() - 0.5f) / 100;
            }

        return weights;
    }

    static long LongestOf(Plan plan) =>
        plan.Prefill.Concat(plan.Stream).Concat(plan.Decode.Select(d => d.Context)).Max();

    static long WorkOf(Plan plan, int runs) =>
        plan.Prefill.Sum(t => (long)t * runs) + plan.Decode.Sum(d => (long)d.Context * d.Conversations) + plan.Stream.DefaultIfEmpty(0).Max();

    static Option<DecodeLoad[]?> DecodeOption()
    {
        const string name = "--decode";
        var option = new Option<DecodeLoad[]?>(name) { Description = "Conversations that generate together, each after a context of so many tokens.", HelpName = "N@T,..." };
        option.CustomParser = argument =>
        {
            string text = Value.Single(argument);
            string[] parts = text.Split(',');
            var loads = new DecodeLoad[parts.Length];
            for (int i = 0; i < parts.Length; i++)
            {
                string[] pair = parts[i].Split('@');
                if (pair.Length == 2 && Value.TryInt(pair[0], out int conversations) && conversations is >= 1 and <= ConversationsMax
                    && Value.TryInt(pair[1], out int context) && context is >= 1 and <= TokensMax)
                {
                    loads[i] = new(conversations, context);
                    continue;
                }

                argument.AddError($"{name} '{text}' is not possible: give conversations@context, for instance 1@512,16@512, with 1 to {ConversationsMax} conversations and a context of 1 to {TokensMax}");
                return null;
            }

            return loads;
        };
        return option;
    }

    static void Print(Terminal terminal, AttentionPolicy rule, BenchReport report)
    {
        var rows = new List<string[]>
        {
            (string[])["load", Text.Of(report.LoadMs, "F0") + " ms"],
            (string[])["load to first token", Text.Of(report.FirstTokenMs, "F0") + " ms"],
        };
        rows.AddRange(report.Prefill.Select(p => (string[])[$"prefill of {Text.Of(p.Tokens)} tokens", Text.Of(p.TokensPerSecond, "F1") + " tokens/s"]));
        rows.AddRange(report.Decode.Select(d => (string[])[$"decode, {Text.Of(d.Conversations)} x context {Text.Of(d.Context)}", Text.Of(d.TokensPerSecond, "F1") + " tokens/s"]));
        rows.AddRange((report.Adapters ?? []).Select(a => (string[])[$"the same with {Text.Of(a.Adapters)} adapters of rank {Text.Of(a.Rank)}",
            $"{Text.Of(a.TokensPerSecond, "F1")} tokens/s, p99 {Text.Of(a.P99StepMs, "F1")} ms a step; without, in turn, {Text.Of(a.PlainTokensPerSecond, "F1")} and {Text.Of(a.PlainP99StepMs, "F1")} ms: {Text.Of(a.CostPercent, "F1")} %"]));
        rows.AddRange((report.Training ?? []).Select(t => (string[])[$"{Text.Of(t.Conversations)} x context {Text.Of(t.Context)} while {Text.Of(t.Adapters)} adapters learn",
            $"{Text.Of(t.TokensPerSecond, "F1")} tokens/s, steps p50 {Text.Of(t.P50StepMs, "F1")}, p99 {Text.Of(t.P99StepMs, "F1")}, longest {Text.Of(t.MaxStepMs, "F1")} ms; at rest, in turn, {Text.Of(t.RestingTokensPerSecond, "F1")} tokens/s, {Text.Of(t.RestingP50StepMs, "F1")}, {Text.Of(t.RestingP99StepMs, "F1")}, {Text.Of(t.RestingMaxStepMs, "F1")} ms; {Text.Of(t.TrainedTokensPerSecond, "F1")} tokens/s learned"]));
        rows.AddRange(report.Stream.Select(s => (string[])[$"stream at {Text.Of(s.Position)}", Text.Of(s.MsPerToken, "F2") + " ms/token"]));
        if (report.AllocatedBytesPerStep is { } bytes) rows.Add(["allocated per decode step", Text.Of(bytes, "F0") + " bytes"]);
        rows.Add(["peak memory", Text.Of(report.PeakMemoryMb, "F0") + " MB"]);
        terminal.Print($"{report.Threads} threads, rule {rule}");
        terminal.Table(["what", "figure"], rows);
    }
}
