using System.CommandLine;
using System.CommandLine.Parsing;
using LongCtx.Engine.Scheduling;
using LongCtx.Server;

namespace LongCtx.Cli.Options;

/// <summary>Options that several commands have in common.</summary>
internal static class Common
{
    public const string DefaultModel = LocalHost.DefaultModel;
    public const string DefaultEncoder = LocalHost.DefaultEncoder;

    public static Option<string> Model(string @default = DefaultModel) => new("--model")
    {
        Description = "A bundled model's name, a GGUF file, or a Hugging Face directory.",
        HelpName = "PATH|NAME",
        DefaultValueFactory = _ => @default,
    };

    public static Option<string?> Adapter() => new("--adapter") { Description = "A PEFT directory: a LoRA adapter of the model.", HelpName = "DIR" };

    public static Option<bool> Json() => new("--json") { Description = "Write JSON, one object a line." };

    public static Option<int> Threads() =>
        Value.Int("--threads", "Compute threads.", 1, EngineOptions.ThreadsMax, Math.Min(Environment.ProcessorCount, EngineOptions.ThreadsMax));

    /// <summary>Exactly one of the two options must be given.</summary>
    public static void RequireOne(this Command command, Option first, Option second) => command.Validators.Add(result =>
    {
        bool hasFirst = IsGiven(result, first), hasSecond = IsGiven(result, second);
        if (hasFirst && hasSecond) result.AddError($"{first.Name} and {second.Name} exclude each other: give one of them");
        else if (!hasFirst && !hasSecond) result.AddError($"Give {first.Name} or {second.Name}");
    });

    public static bool IsGiven(SymbolResult result, Option option) => result.GetResult(option) is { Implicit: false };

    public static bool IsGiven(this ParseResult result, Option option) => result.GetResult(option) is { Implicit: false };
}
