using LongCtx.Silo.Grains;

namespace LongCtx.Silo.Placement;

/// <summary>What a silo tells the others about itself.</summary>
/// <param name="Silo">Whose it is.</param>
/// <param name="Models">Loaded models; empty without a device.</param>
/// <param name="BlocksFree">KV blocks that nobody pins.</param>
/// <param name="BlocksTotal">Of all its pools.</param>
/// <param name="Running">Generations in its batch.</param>
/// <param name="Queued">Generations that wait for a place.</param>
/// <param name="IsDraining">It leaves: nothing new.</param>
/// <param name="Devices">What its engine computes with; a gateway has none.</param>
/// <param name="Home">Of its saved states; conversations come back to it, also under another address.</param>
[GenerateSerializer, Immutable, Alias("longctx.capacity")]
internal sealed record SiloCapacity(
    [property: Id(0)] SiloAddress Silo,
    [property: Id(1)] IReadOnlyList<SiloModel> Models,
    [property: Id(2)] int BlocksFree,
    [property: Id(3)] int BlocksTotal,
    [property: Id(4)] int Running,
    [property: Id(5)] int Queued,
    [property: Id(6)] bool IsDraining,
    [property: Id(7)] string Home,
    [property: Id(8)] IReadOnlyList<SiloDevice> Devices)
{
    public int Load => Running + Queued;

    /// <summary>A conversation may be given to it: it computes its model and stays.</summary>
    public bool CanHost(string modelTag) => !IsDraining && Devices.Count > 0 && Models.Any(m => m.Tag == modelTag);
}

/// <summary>A <see cref="DeviceDescription"/>.</summary>
[GenerateSerializer, Immutable, Alias("longctx.device")]
internal sealed record SiloDevice([property: Id(0)] string Kind, [property: Id(1)] string Name, [property: Id(2)] int Threads);

/// <param name="Tag">As in conversation ids.</param>
/// <param name="VocabularySize">0 for an encoder.</param>
/// <param name="Wire">The <see cref="Description"/>.</param>
[GenerateSerializer, Immutable, Alias("longctx.model")]
internal sealed record SiloModel([property: Id(0)] string Tag, [property: Id(1)] int VocabularySize, [property: Id(2)] Wire Wire)
{
    /// <summary>Read once: every request looks at it.</summary>
    public ModelDescription Description => field ??= Wire.Read<ModelDescription>();
}
